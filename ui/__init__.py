"""The screens: thin NiceGUI pages in Russian that call the verbs and read the journal. No SQL, no rules of the work."""
