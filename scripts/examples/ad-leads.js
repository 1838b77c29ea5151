// Tag people who came from an ad, and tell the CRM which.

export function onMessage(event, context) {
  const ad = event.message.referral;
  if (!ad || !context.conversation.new) return;
  return [
    tag("ad-lead"),
    setField("ad", ad.source_id ?? ad.source_url),
    escalate({ reason: "new lead from an ad", note: ad.headline, priority: "high" }),
  ];
}

export function mapToCRM(event, context) {
  const ad = event.message.referral;
  return {
    lead_source: ad ? "whatsapp-ad" : "whatsapp",
    ad_id: ad?.source_id,
    first_contact: context.conversation.started,
  };
}
