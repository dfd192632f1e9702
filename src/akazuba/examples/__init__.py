"""Example cases. Every patient is invented and every image is drawn by `draw.py`: synthetic."""
