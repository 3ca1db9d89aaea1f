"""silri.evaluation"""
