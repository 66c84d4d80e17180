//! What a user has bought so far, as the order service reports it with each order, and the latest offers redeemed.

use millrace::prelude::*;

#[derive(Input)]
struct Order<'a> {
    user_id: &'a str,
    lifetime_total: f64,
    offers_redeemed: Option<Vec<&'a str>>,
    timestamp: Timestamp,
}

#[derive(Params)]
struct Settings {
    /// How many of the latest offers are kept.
    #[millrace(default = 3_usize)]
    keep_offers: usize,
}

#[derive(Output)]
struct Purchases<'a> {
    user_id: &'a str,
    lifetime_value: f64,
    previous_offers: Vec<&'a str>,
    timestamp: Timestamp,
}

#[transform]
fn user_purchases<'a>(event: Order<'a>, settings: &Settings) -> Purchases<'a> {
    let mut offers = event.offers_redeemed.unwrap_or_default();
    let surplus = offers.len().saturating_sub(settings.keep_offers);
    Purchases {
        user_id: event.user_id,
        lifetime_value: event.lifetime_total,
        previous_offers: offers.split_off(surplus),
        timestamp: event.timestamp,
    }
}
