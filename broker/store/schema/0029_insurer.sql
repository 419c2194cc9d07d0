-- Who has issued the policy: the code of the insurer's register, or its name where no more was stated.
ALTER TABLE patient ADD COLUMN insurer TEXT NOT NULL DEFAULT '';
UPDATE patient_merge SET card = json_set(card, '$.insurer', '');
