"""silri.configs"""
