"""What screens read of images, reports and worklists."""
