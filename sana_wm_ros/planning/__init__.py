"""From a context and a goal to a validated plan: propose, imagine, score, validate, follow."""
