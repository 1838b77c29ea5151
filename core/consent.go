package core

// Consent is a change of what a person agreed to, or of why nothing may be sent
// to them.
type Consent struct {
	// Level is "transactional" or "marketing", and State "asked", "granted" or
	// "withdrawn"; both are empty when the change is of a suppression.
	Level string `json:"level,omitempty"`
	State string `json:"state,omitempty"`
	// Suppression is why nothing may be sent: "stop", "complaint", "blocked",
	// "wrong_number", "deceased", "legal_hold" or "request". Scope is "all",
	// "marketing" or "topic:<name>"; Lifted says that the reason is gone.
	Suppression string `json:"suppression,omitempty"`
	Scope       string `json:"scope,omitempty"`
	Lifted      bool   `json:"lifted,omitempty"`
	// Source is where it comes from: "word", "button", "meta", "api", "script",
	// "crm", "file", "person" or "first contact". Evidence shows it, By is who recorded it.
	Source   string `json:"source,omitempty"`
	Evidence string `json:"evidence,omitempty"`
	By       string `json:"by,omitempty"`
	// Marketing is where marketing consent stands after the change ("" when it was
	// never spoken of), Suppressed the reasons that hold. They are set on what CRMs
	// get.
	Marketing  string   `json:"marketing,omitempty"`
	Suppressed []string `json:"suppressed,omitempty"`
}
