"""Targets, the implementations that are verified: find, declare, bind, and call them."""
