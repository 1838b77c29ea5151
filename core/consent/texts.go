package consent

import "slices"

// Texts are what the bridge itself says, once, when somebody changes their mind.
type Texts struct {
	Stop          string `koanf:"stop"`           // after STOP: the last message
	StopMarketing string `koanf:"stop_marketing"` // after the end of advertising only
	Start         string `koanf:"start"`          // after consent, and after a stop taken back
	Ask           string `koanf:"ask"`            // the question of a double opt-in
	// AskTemplate is the template that asks it while the person may not be sent
	// texts: "name/language". Its button says yes.
	AskTemplate string `koanf:"ask_template"`
}

var shippedTexts = map[string]Texts{
	"en": {
		Stop:          "You will get no more messages from us. Write START to get messages and offers again.",
		StopMarketing: "You will get no more offers from us. Write SUBSCRIBE to get them again.",
		Start:         "Thank you: you get our messages and offers. Write STOP at any time to end them.",
		Ask:           "Do you agree to get offers from us here? Answer YES to confirm.",
	},
	"es": {
		Stop:          "No recibirás más mensajes nuestros. Escribe REANUDAR para volver a recibir mensajes y ofertas.",
		StopMarketing: "No recibirás más ofertas nuestras. Escribe ALTA para volver a recibirlas.",
		Start:         "Gracias: recibirás nuestros mensajes y ofertas. Escribe BAJA cuando quieras dejar de recibirlos.",
		Ask:           "¿Aceptas recibir ofertas nuestras por aquí? Responde SÍ para confirmar.",
	},
	"fr": {
		Stop:          "Vous ne recevrez plus de messages de notre part. Écrivez REPRENDRE pour recevoir à nouveau messages et offres.",
		StopMarketing: "Vous ne recevrez plus d'offres de notre part. Écrivez ABONNER pour en recevoir à nouveau.",
		Start:         "Merci : vous recevez nos messages et nos offres. Écrivez STOP à tout moment pour les arrêter.",
		Ask:           "Acceptez-vous de recevoir nos offres ici ? Répondez OUI pour confirmer.",
	},
	"pt": {
		Stop:          "Você não receberá mais mensagens nossas. Escreva VOLTAR para receber de novo mensagens e ofertas.",
		StopMarketing: "Você não receberá mais ofertas nossas. Escreva INSCREVER para receber de novo.",
		Start:         "Obrigado: você recebe nossas mensagens e ofertas. Escreva PARAR quando quiser cancelar.",
		Ask:           "Você aceita receber ofertas nossas por aqui? Responda SIM para confirmar.",
	},
	"zh": {
		Stop:          "您将不再收到我们的消息。如需重新接收消息和优惠，请回复“恢复”。",
		StopMarketing: "您将不再收到我们的优惠信息。如需重新接收，请回复“订阅”。",
		Start:         "谢谢：您将收到我们的消息和优惠。随时回复“退订”即可停止。",
		Ask:           "您同意在此接收我们的优惠信息吗？回复“同意”以确认。",
	},
	"de": {
		Stop:          "Sie erhalten keine Nachrichten mehr von uns. Schreiben Sie WEITER, um wieder Nachrichten und Angebote zu erhalten.",
		StopMarketing: "Sie erhalten keine Angebote mehr von uns. Schreiben Sie ANMELDEN, um wieder welche zu erhalten.",
		Start:         "Danke: Sie erhalten unsere Nachrichten und Angebote. Schreiben Sie jederzeit STOPP, um sie zu beenden.",
		Ask:           "Möchten Sie hier Angebote von uns erhalten? Antworten Sie mit JA, um zuzustimmen.",
	},
	"it": {
		Stop:          "Non riceverà più messaggi da noi. Scriva RIATTIVA per ricevere di nuovo messaggi e offerte.",
		StopMarketing: "Non riceverà più offerte da noi. Scriva ISCRIVIMI per riceverle di nuovo.",
		Start:         "Grazie: riceverà i nostri messaggi e le nostre offerte. Scriva STOP quando vuole per interromperli.",
		Ask:           "Accetta di ricevere qui le nostre offerte? Risponda ACCETTO per confermare.",
	},
}

// TextsFor returns what to say in a language: a tenant's own texts, then those
// that ship, then English.
func TextsFor(own map[string]Texts, language string) Texts {
	var out Texts
	for _, t := range []Texts{own[language], shippedTexts[language], own["en"], shippedTexts["en"]} {
		fill(&out.Stop, t.Stop)
		fill(&out.StopMarketing, t.StopMarketing)
		fill(&out.Start, t.Start)
		fill(&out.Ask, t.Ask)
		fill(&out.AskTemplate, t.AskTemplate)
	}
	return out
}

func fill(s *string, with string) {
	if *s == "" {
		*s = with
	}
}

// Languages lists the languages that the shipped texts are in.
func Languages() []string {
	out := make([]string, 0, len(shippedTexts))
	for l := range shippedTexts {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}
