"""The screens: thin NiceGUI pages in Russian: they call use cases and read `store.queries`. No SQL, no rules."""
