"""Geometry of point clouds: sampling, neighbours, normals, descriptors, regions and pictures."""
