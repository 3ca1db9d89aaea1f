"""silri.intervention"""
