"""silri.runtime"""
