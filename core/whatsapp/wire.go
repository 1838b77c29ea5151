package whatsapp

import "encoding/json"

// What a webhook's body is made of. The structs name every field that is known,
// also those that nothing is made of, so that strict decoding finds what is not.

type envelope struct {
	Object string  `json:"object"`
	Entry  []entry `json:"entry"`
}

type entry struct {
	ID      flexID          `json:"id"`
	Time    json.RawMessage `json:"time"` // as it came: part of derived ids
	Changes []change        `json:"changes"`
}

type change struct {
	Field string `json:"field"`
	Value value  `json:"value"`
}

// value is that of the field "messages".
type value struct {
	Product  string          `json:"messaging_product"`
	Metadata metadata        `json:"metadata"`
	Contacts []profile       `json:"contacts"`
	Messages []message       `json:"messages"`
	Statuses []status        `json:"statuses"`
	Errors   json.RawMessage `json:"errors"`
}

type metadata struct {
	Display  string `json:"display_phone_number"`
	NumberID flexID `json:"phone_number_id"`
}

type profile struct {
	Profile struct {
		Name     string `json:"name"`
		Username string `json:"username"`
	} `json:"profile"`
	WaID         flexID `json:"wa_id"`
	UserID       string `json:"user_id"`
	ParentUserID string `json:"parent_user_id"`
	// IdentityKeyHash is for businesses that check identities; the bridge does not.
	IdentityKeyHash string `json:"identity_key_hash"`
}

// message is an element of messages.
type message struct {
	From             flexID          `json:"from"`
	FromUserID       string          `json:"from_user_id"`
	FromParentUserID string          `json:"from_parent_user_id"`
	ID               string          `json:"id"`
	Timestamp        flexTime        `json:"timestamp"`
	Type             string          `json:"type"`
	GroupID          string          `json:"group_id"`
	Context          *msgContext     `json:"context"`
	Referral         *msgReferral    `json:"referral"`
	Errors           []statusError   `json:"errors"`
	Unsupported      *msgUnsupported `json:"unsupported"`

	Text        *msgText        `json:"text"`
	Image       *msgMedia       `json:"image"`
	Audio       *msgMedia       `json:"audio"`
	Video       *msgMedia       `json:"video"`
	Document    *msgMedia       `json:"document"`
	Sticker     *msgMedia       `json:"sticker"`
	Location    *msgLocation    `json:"location"`
	Contacts    json.RawMessage `json:"contacts"`
	Button      *msgButton      `json:"button"`
	Interactive *msgInteractive `json:"interactive"`
	Reaction    *msgReaction    `json:"reaction"`
	System      *msgSystem      `json:"system"`
	Order       *msgOrder       `json:"order"`
	Edit        *msgEdit        `json:"edit"`
	Revoke      *msgRevoke      `json:"revoke"`
}

type (
	msgContext struct {
		From                string      `json:"from"`
		ID                  string      `json:"id"`
		Forwarded           bool        `json:"forwarded"`
		FrequentlyForwarded bool        `json:"frequently_forwarded"`
		ReferredProduct     *msgProduct `json:"referred_product"`
	}
	msgText struct {
		Body string `json:"body"`
	}
	msgMedia struct {
		ID       string `json:"id"`
		URL      string `json:"url"` // lives for minutes; the id outlives it
		Caption  string `json:"caption"`
		MIMEType string `json:"mime_type"`
		SHA256   string `json:"sha256"`
		Filename string `json:"filename"`
		Voice    bool   `json:"voice"`
		Animated bool   `json:"animated"`
	}
	msgLocation struct {
		Latitude  flexDegrees `json:"latitude"`
		Longitude flexDegrees `json:"longitude"`
		Name      string      `json:"name"`
		Address   string      `json:"address"`
		URL       string      `json:"url"`
	}
	msgButton struct {
		Payload string `json:"payload"`
		Text    string `json:"text"`
	}
	msgInteractive struct {
		Type        string    `json:"type"`
		ButtonReply *msgReply `json:"button_reply"`
		ListReply   *msgReply `json:"list_reply"`
		FlowReply   *struct {
			Name     string `json:"name"`
			Body     string `json:"body"`
			Response string `json:"response_json"`
		} `json:"nfm_reply"`
		Calls *struct {
			Response  string   `json:"response"`
			Until     flexTime `json:"expiration_timestamp"`
			Permanent bool     `json:"is_permanent"`
			Source    string   `json:"response_source"`
		} `json:"call_permission_reply"`
	}
	msgReply struct {
		ID          string `json:"id"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	msgSystem struct {
		Body           string `json:"body"`
		Type           string `json:"type"`
		WaID           flexID `json:"wa_id"`
		NewWaID        flexID `json:"new_wa_id"` // until v12
		UserID         string `json:"user_id"`
		ParentUserID   string `json:"parent_user_id"`
		PreviousUserID string `json:"previous_user_id"`
	}
	msgProduct struct {
		Catalog flexID `json:"catalog_id"`
		ID      flexID `json:"product_retailer_id"`
	}
	msgOrder struct {
		Catalog flexID         `json:"catalog_id"`
		Text    string         `json:"text"`
		Items   []msgOrderItem `json:"product_items"`
	}
	msgOrderItem struct {
		Product  flexID     `json:"product_retailer_id"`
		Quantity flexNumber `json:"quantity"`
		Price    flexNumber `json:"item_price"`
		Currency string     `json:"currency"`
	}
	msgReferral struct {
		URL       string `json:"source_url"`
		ID        flexID `json:"source_id"`
		Type      string `json:"source_type"`
		Headline  string `json:"headline"`
		Body      string `json:"body"`
		MediaType string `json:"media_type"`
		ImageURL  string `json:"image_url"`
		VideoURL  string `json:"video_url"`
		Thumbnail string `json:"thumbnail_url"`
		Click     string `json:"ctwa_clid"`
		Welcome   struct {
			Text string `json:"text"`
		} `json:"welcome_message"`
	}
	msgUnsupported struct {
		Type string `json:"type"`
	}
	msgEdit struct {
		Of      string   `json:"original_message_id"`
		Message *message `json:"message"`
	}
	msgRevoke struct {
		Of string `json:"original_message_id"`
	}
	msgReaction struct {
		MessageID string `json:"message_id"`
		Emoji     string `json:"emoji"`
	}
)

// status is an element of statuses.
type status struct {
	ID                 string          `json:"id"`
	Status             string          `json:"status"`
	Timestamp          flexTime        `json:"timestamp"`
	Type               string          `json:"type"` // of other things than messages: payment, call
	RecipientID        flexID          `json:"recipient_id"`
	RecipientType      string          `json:"recipient_type"`
	RecipientUserID    string          `json:"recipient_user_id"`
	RecipientParent    string          `json:"recipient_parent_user_id"`
	RecipientParentOld string          `json:"parent_recipient_user_id"` // until May 2026
	ParticipantID      flexID          `json:"recipient_participant_id"`
	ParticipantUserID  string          `json:"recipient_participant_user_id"`
	ParticipantParent  string          `json:"recipient_participant_parent_user_id"`
	IdentityKeyHash    string          `json:"recipient_identity_key_hash"`
	Opaque             string          `json:"biz_opaque_callback_data"`
	Conversation       json.RawMessage `json:"conversation"` // until v24, and in free entry point windows
	Pricing            json.RawMessage `json:"pricing"`
	Errors             []statusError   `json:"errors"`
}

type statusError struct {
	Code    flexInt `json:"code"`
	Title   string  `json:"title"`
	Message string  `json:"message"`
	Details string  `json:"details"`
	Href    string  `json:"href"`
	Data    struct {
		Details string `json:"details"`
	} `json:"error_data"`
}
