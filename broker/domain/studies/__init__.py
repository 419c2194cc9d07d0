"""What came of an order: performed steps, images in the archive, reports, and studies made before."""
