"""silri.cli"""
