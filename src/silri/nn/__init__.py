"""silri.nn"""
