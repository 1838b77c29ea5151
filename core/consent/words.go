package consent

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Intent is what a whole message says about consent, or about who should answer.
type Intent string

// The intents. The zero Intent is a message that is none of these.
const (
	StopAll       Intent = "stop"           // nothing more
	StopMarketing Intent = "stop marketing" // no more advertising
	// Start takes a stop back, advertising included; to whoever was not stopped
	// it is a word like others.
	Start       Intent = "start"
	Subscribe   Intent = "subscribe" // advertising, please
	Confirm     Intent = "confirm"   // yes: counts only where something was asked
	HumanPlease Intent = "human"     // a person, please
)

// Said is an intent, and the language of its words.
type Said struct {
	Intent   Intent
	Language string
	// Words are the words as they are in the table.
	Words string
}

// vocabulary has the words per language and intent, folded when looked up.
// Several languages share words: the first that has one gives the language, but a
// hint comes before that.
//
// What ends messages is what carriers and their vendors have to obey in SMS
// (https://docs.aws.amazon.com/sms-voice/latest/userguide/keywords-required.html,
// 47 CFR 64.1200(a)(10)), and the sentences in which people say the same. "cancel"
// is on those lists and not here: to a business that takes orders it is about an
// order far more often. Who sends campaigns only adds it to policy.opt_out_words.
var vocabulary = []struct {
	language string
	words    map[Intent]string // separated by |
}{
	{"en", map[Intent]string{
		StopAll: "stop|stop all|stopall|stop it|please stop|stop please|stop messages|stop messaging me|stop texting me|unsubscribe|unsubscribe me|" +
			"unsub|opt out|optout|quit|remove me|remove me from your list|no more messages|do not message me|don't message me|do not contact me|don't contact me|" +
			"end|revoke|remove|stop sending me messages|stop sending messages|stop writing to me|don't text me|do not text me|i don't want messages|i don't want any more messages|i do not want any more messages|i don't want to receive messages|i do not want to receive messages|i don't want to receive any more messages|i don't want to receive your messages|i no longer want to receive messages|i no longer want to receive your messages",
		StopMarketing: "stop promotions|stop marketing|stop offers|stop ads|no more ads|no more offers|no promotions|no marketing",
		Start:         "start|unstop|resume|start again",
		Subscribe:     "subscribe|subscribe me|resubscribe|opt in|optin|sign me up|send me offers",
		Confirm:       "yes|y|yes please|i agree|agree|confirm|i confirm|yes i agree",
		HumanPlease: "agent|an agent|human|a human|person|a person|real person|a real person|a person please|human please|agent please|representative|operator|" +
			"live agent|human agent|talk to a human|talk to a person|talk to an agent|talk to someone|speak to a human|speak to a person|speak to an agent|speak to someone|" +
			"speak with a human|speak with an agent|speak to a representative|i want a human|i want to talk to a human|i want to speak to a human|" +
			"i want to talk to a person|i want to speak to a person|i want to talk to someone|i need a human|i need an agent|can i talk to a human|" +
			"can i talk to a person|can i speak to a human|can i speak to someone|connect me to an agent|customer service|customer support",
	}},
	{"es", map[Intent]string{
		StopAll: "stop|baja|alto|parar|detener|dar de baja|darme de baja|dame de baja|dadme de baja|quiero darme de baja|cancelar suscripcion|desuscribir|desuscribirme|" +
			"desuscribirse|no mas mensajes|no quiero mas mensajes|no me escriban mas|no me escriban|no me contacten|eliminarme|borrarme de la lista|" +
			"salir|cancelar la suscripcion|no quiero recibir mas mensajes|no quiero recibir mensajes|no quiero recibir sus mensajes|ya no quiero recibir mensajes|ya no quiero recibir mas mensajes|ya no quiero mas mensajes|no deseo recibir mas mensajes|no deseo recibir mensajes|no me manden mas mensajes|no me envien mas mensajes|no me envieis mas mensajes|dejen de escribirme|dejad de escribirme|dejen de enviarme mensajes|dejen de mandarme mensajes",
		StopMarketing: "detener promociones|no mas promociones|no mas publicidad|sin publicidad|baja publicidad|no quiero publicidad",
		Start:         "empezar|iniciar|reanudar|volver",
		Subscribe:     "alta|suscribir|suscribirme|suscribirse|darme de alta|quiero ofertas",
		Confirm:       "si|si por favor|acepto|confirmo|confirmar|de acuerdo",
		HumanPlease: "agente|un agente|humano|un humano|persona|una persona|persona real|una persona real|asesor|un asesor|operador|operadora|representante|" +
			"una persona por favor|un agente por favor|un humano por favor|hablar con un agente|hablar con un humano|hablar con una persona|hablar con un asesor|" +
			"hablar con alguien|quiero hablar con un agente|quiero hablar con una persona|quiero hablar con un humano|quiero hablar con un asesor|" +
			"quiero hablar con alguien|quiero un agente|necesito un agente|necesito hablar con una persona|puedo hablar con una persona|puedo hablar con alguien|" +
			"atencion al cliente|servicio al cliente",
	}},
	{"fr", map[Intent]string{
		StopAll: "stop|arret|arreter|arretez|desabonner|desabonnement|se desabonner|me desabonner|desabonnez moi|desinscription|desinscrire|me desinscrire|desinscrivez moi|" +
			"plus de messages|plus de message|ne plus recevoir|ne m'ecrivez plus|ne me contactez plus|retirez moi|" +
			"stop sms|stop messages|je ne veux plus recevoir vos messages|je ne veux plus recevoir de messages|je ne veux plus recevoir de message|je ne veux plus de messages|je ne veux plus de vos messages|je ne souhaite plus recevoir vos messages|je ne souhaite plus recevoir de messages|ne plus recevoir de messages|ne plus recevoir vos messages|ne m'envoyez plus de messages|ne m'envoyez plus rien|arretez de m'ecrire|arretez de m'envoyer des messages",
		StopMarketing: "stop pub|stop pubs|stop promo|stop promos|arreter les promotions|plus de pub|plus de publicite|plus de promotions|pas de publicite",
		Start:         "reprendre|recommencer|commencer",
		Subscribe:     "abonner|m'abonner|s'abonner|abonnez moi|m'inscrire|inscrivez moi|je m'abonne",
		Confirm:       "oui|oui s'il vous plait|j'accepte|je confirme|confirmer|d'accord|ok d'accord",
		HumanPlease: "conseiller|un conseiller|une conseillere|humain|un humain|agent|un agent|personne|une personne|une vraie personne|operateur|un operateur|" +
			"un conseiller svp|un conseiller s'il vous plait|une personne s'il vous plait|un humain s'il vous plait|parler a un conseiller|parler a un humain|" +
			"parler a une personne|parler a un agent|parler a quelqu'un|parler avec un conseiller|je veux parler a un conseiller|je veux parler a quelqu'un|" +
			"je veux parler a une personne|je veux parler a un humain|je voudrais parler a un conseiller|je voudrais parler a quelqu'un|" +
			"je souhaite parler a un conseiller|puis je parler a un conseiller|service client",
	}},
	{"pt", map[Intent]string{
		StopAll: "stop|pare|parar|sair|descadastrar|descadastre|descadastre me|cancelar inscricao|cancelar assinatura|remover|me remova|remova me|quero sair|" +
			"nao quero mais mensagens|nao quero mais receber mensagens|chega de mensagens|sem mais mensagens|pare de me mandar mensagem|parar mensagens|nao me escreva mais|" +
			"cancelar a inscricao|nao quero receber mais mensagens|nao quero receber mensagens|nao quero mais receber suas mensagens|nao quero receber suas mensagens|nao desejo receber mensagens|nao desejo mais receber mensagens|nao desejo receber mais mensagens|nao me mande mais mensagens|nao me mandem mais mensagens|nao me envie mais mensagens|nao me enviem mais mensagens|pare de me mandar mensagens|parem de me mandar mensagens|pare de me enviar mensagens|parem de me enviar mensagens",
		StopMarketing: "parar promocoes|sem promocoes|nao quero promocoes|chega de propaganda|sem propaganda|parar publicidade",
		Start:         "voltar|comecar|retomar|voltar a receber",
		Subscribe:     "inscrever|inscrever me|me inscrever|assinar|quero receber|quero receber ofertas",
		Confirm:       "sim|sim por favor|aceito|confirmo|confirmar|concordo",
		HumanPlease: "atendente|um atendente|uma atendente|humano|um humano|pessoa|uma pessoa|pessoa real|uma pessoa real|operador|um operador|agente|um agente|" +
			"atendimento humano|um atendente por favor|uma pessoa por favor|falar com atendente|falar com um atendente|falar com uma atendente|falar com um humano|" +
			"falar com uma pessoa|falar com alguem|falar com um agente|quero falar com um atendente|quero falar com uma pessoa|quero falar com alguem|" +
			"quero falar com um humano|quero um atendente|preciso falar com um atendente|preciso de um atendente|posso falar com um atendente|posso falar com alguem|" +
			"atendimento ao cliente",
	}},
	{"zh", map[Intent]string{
		StopAll: "退订|退訂|取消订阅|取消訂閱|停止|停止发送|停止發送|停止短信|stop|不要再发了|不要再發了|别再发了|別再發了|不要再发消息|不要再發訊息|td|t|拒收|取消关注|取消關注|" +
			"不要再给我发信息了|不要再给我发信息|不要再给我发消息了|不要再给我发消息|不要再给我发短信了|不要给我发信息了|不要给我发消息了|别给我发信息了|别给我发消息了|" +
			"别再给我发信息了|别再给我发消息了|请不要再发了|请不要再给我发信息|请不要再给我发消息|我不想再收到信息|我不想再收到消息|不想再收到消息|" +
			"不要再發訊息給我|不要再傳訊息給我|不要再傳訊息了|別再傳訊息給我|別再傳訊息了|請不要再發訊息|請不要再傳訊息|我不想再收到訊息",
		StopMarketing: "停止促销|停止促銷|停止推广|停止推廣|停止营销|停止行銷|不要广告|不要廣告|拒收广告|拒收廣告",
		Start:         "恢复|恢復|开始|開始",
		Subscribe:     "订阅|訂閱|恢复订阅|恢復訂閱|重新订阅|重新訂閱|我要订阅|我要訂閱",
		Confirm:       "是|是的|同意|我同意|确认|確認|好的",
		HumanPlease: "人工|人工客服|转人工|轉人工|转人工客服|轉人工客服|真人|真人客服|客服|找客服|联系客服|聯繫客服|我要人工|我要人工客服|我要找客服|我要找人工|" +
			"请转人工|請轉人工|人工服务|人工服務|和真人说话|我要和真人说话|我想和真人聊|我想和客服说话|可以转人工吗|能转人工吗",
	}},
	{"de", map[Intent]string{
		StopAll: "stop|stopp|abmelden|abbestellen|austragen|keine nachrichten mehr|keine weiteren nachrichten|bitte aufhoren|nicht mehr schreiben|nachrichten abbestellen|" +
			"ich will keine nachrichten mehr|ich mochte keine nachrichten mehr|ich mochte keine nachrichten mehr erhalten|ich mochte keine weiteren nachrichten|" +
			"schreiben sie mir nicht mehr|schreibt mir nicht mehr", StopMarketing: "keine werbung|keine werbung mehr|stopp werbung",
		Start: "weiter", Subscribe: "anmelden|abonnieren", Confirm: "ja|ja bitte|einverstanden|bestatigen",
		HumanPlease: "mitarbeiter|ein mitarbeiter|mensch|ein mensch|mit einem menschen sprechen|mit einem mitarbeiter sprechen|kundenservice",
	}},
	{"it", map[Intent]string{
		StopAll: "stop|disiscrivimi|disiscrivetemi|cancellami|cancellatemi|cancella iscrizione|annulla iscrizione|basta messaggi|non voglio piu messaggi|" +
			"non voglio ricevere messaggi|non voglio ricevere piu messaggi|non voglio piu ricevere messaggi|non voglio piu ricevere i vostri messaggi|" +
			"non desidero ricevere messaggi|non desidero piu ricevere messaggi|non scrivetemi piu|non mandatemi piu messaggi", StopMarketing: "basta pubblicita|niente pubblicita",
		Start: "riattiva", Subscribe: "iscrivimi|mi iscrivo", Confirm: "si accetto|accetto|confermo", HumanPlease: "operatore|un operatore|parlare con un operatore|una persona vera",
	}},
	{"nl", map[Intent]string{StopAll: "afmelden|uitschrijven|schrijf me uit|geen berichten meer|ik wil geen berichten meer|ik wil geen berichten meer ontvangen"}},
	{"id", map[Intent]string{StopAll: "berhenti|berhenti berlangganan|jangan kirim pesan lagi"}},
	{"ru", map[Intent]string{StopAll: "стоп|отписаться|отпишите меня|не пишите мне|не пишите мне больше|больше не пишите"}},
	{"ar", map[Intent]string{StopAll: "إلغاء الاشتراك|الغاء الاشتراك|إيقاف|ايقاف|توقف"}},
	{"ja", map[Intent]string{StopAll: "配信停止|配信を停止|配信停止してください"}},
}

// hinted are words that mean it in one language and nothing in others: they count
// where the conversation is held in that language. "T" is what Chinese text
// messages ask for (回T退订); elsewhere it is a slip of the finger, a size, the
// answer to "T or F".
var hinted = map[string]string{"t": "zh"}

// polite are words around what a message says, which change nothing about it.
var polite = strings.Split("please|pls|plz|thanks|thank you|por favor|porfavor|gracias|svp|s'il vous plait|s'il te plait|merci|pf|pfv|obrigado|obrigada|bitte|danke|per favore|grazie|谢谢|謝謝", "|")

// payloads are words that only a button's payload has, whatever its language.
var payloads = map[string]Intent{
	"stop promotion": StopMarketing, "stop promos": StopMarketing, "marketing opt out": StopMarketing, "opt out marketing": StopMarketing,
	"marketing opt in": Subscribe, "opt in marketing": Subscribe, "confirm opt in": Confirm, "opt in yes": Confirm,
}

// Words finds what whole messages say. The zero Words knows the words that ship.
type Words struct {
	own map[string]Said
}

var shipped = func() map[string][]Said {
	m := map[string][]Said{}
	for _, v := range vocabulary {
		for intent, words := range v.words {
			for w := range strings.SplitSeq(words, "|") {
				f := Fold(w)
				m[f] = append(m[f], Said{intent, v.language, w})
			}
		}
	}
	return m
}()

// NewWords adds a tenant's own words to those that ship.
func NewWords(own map[Intent][]string) Words {
	m := map[string]Said{}
	for intent, words := range own {
		for _, w := range words {
			m[Fold(w)] = Said{Intent: intent, Words: w}
		}
	}
	return Words{m}
}

// maxWords is how long a message of words can be; longer ones are sentences.
const maxWords = 64

// Message finds what a text says, if the whole of it is such words: "STOP!" is,
// "stop, o Zé não vem" is a sentence. language is what the conversation is held
// in, "" when it is not known.
func (w Words) Message(text, language string) Said {
	if len(text) > 4*maxWords {
		return Said{}
	}
	folded := Fold(text)
	if s := w.look(folded, language); s.Intent != "" {
		return s
	}
	return w.look(withoutManners(folded), language)
}

// withoutManners takes one polite word off either end.
func withoutManners(s string) string {
	for _, p := range polite {
		if rest, ok := strings.CutPrefix(s, p+" "); ok {
			s = rest
			break
		}
	}
	for _, p := range polite {
		if rest, ok := strings.CutSuffix(s, " "+p); ok {
			return rest
		}
	}
	return s
}

// Button finds what a pressed button says: by its payload or id, else by its
// title.
func (w Words) Button(payload, title, language string) Said {
	f := Fold(payload)
	if intent, ok := payloads[f]; ok {
		return Said{intent, language, f}
	}
	if s := w.look(f, language); s.Intent != "" {
		return s
	}
	return w.Message(title, language)
}

func (w Words) look(folded, language string) Said {
	if folded == "" || len(folded) > maxWords {
		return Said{}
	}
	if s, ok := w.own[folded]; ok {
		if s.Language == "" {
			s.Language = language
		}
		return s
	}
	all := shipped[folded]
	if only := hinted[folded]; only != "" && only != language {
		return Said{}
	}
	for _, s := range all {
		if s.Language == language {
			return s
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return Said{}
}

// Fold brings a text into the form in which words are compared: lower case,
// without accents and ornaments at its ends, punctuation and spaces as one space.
func Fold(s string) string {
	var b strings.Builder
	space := false
	for _, r := range norm.NFKD.String(s) {
		switch {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Me, r):
			continue
		case r == '’' || r == 'ʼ' || r == '`':
			r = '\''
		case unicode.IsSpace(r) || unicode.IsPunct(r) && r != '\'':
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.TrimFunc(b.String(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
