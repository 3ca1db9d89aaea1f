"""silri.agents"""
