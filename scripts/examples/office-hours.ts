// Say when somebody is there, outside office hours, at most once a day.
//
//   [settings]
//   open = 9           # o'clock, in the office
//   close = 18
//   utc_offset = 1     # hours

export function onMessage(event: wabridge.Event, context: wabridge.Context): wabridge.Decision {
  const { open = 9, close = 18, utc_offset = 0 } = context.settings;
  const local = new Date(context.now + utc_offset * 3600_000);
  const weekend = local.getUTCDay() === 0 || local.getUTCDay() === 6;
  const hour = local.getUTCHours();
  if (!weekend && hour >= open && hour < close) return;

  const today = local.toISOString().slice(0, 10);
  if (context.contact.fields?.told_hours === today) return;
  return [
    reply(`We are here Monday to Friday, ${open}:00 to ${close}:00, and will answer then.`),
    setField("told_hours", today),
  ];
}
