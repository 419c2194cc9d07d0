"""«Запись»: registering, changing and accepting referrals."""
