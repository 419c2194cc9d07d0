"""«Входящие»: referrals of other clinics that wait for a device and a time."""
