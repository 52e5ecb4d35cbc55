"""The graph: nodes, edges and reducers as data, and what makes them valid."""
