"""silri.envs"""
