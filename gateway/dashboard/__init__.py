"""The dashboard: pages of the control listener; a view for each noun, templates/ and static/ beside them."""
