"""What came of an order: performed steps, images and reports in the archive, doses, and studies made before."""
