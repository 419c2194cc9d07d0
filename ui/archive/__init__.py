"""Where the image archive and the referrals do not fit."""
