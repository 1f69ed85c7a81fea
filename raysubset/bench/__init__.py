"""What selection costs and what it is worth: measurements that anybody can repeat."""
