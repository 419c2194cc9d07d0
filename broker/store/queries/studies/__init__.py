"""What screens read of images, stored documents, doses and worklists."""
