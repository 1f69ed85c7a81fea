"""Ray core and Ray Data: session, data set in the object store, selector actor and its clients."""
