//! The item that a user has just put into the cart, and what it is worth.

use millrace::prelude::*;

#[derive(Input)]
struct AddItem<'a> {
    user_id: &'a str,
    item_id: &'a str,
    price: f64,
    quantity: i64,
    timestamp: Timestamp,
}

#[derive(Output)]
struct AddedItem<'a> {
    user_id: &'a str,
    item_id: &'a str,
    quantity: i64,
    value: f64,
    timestamp: Timestamp,
}

#[transform]
fn user_items_added_to_cart<'a>(event: AddItem<'a>) -> Result<AddedItem<'a>, Reject> {
    let AddItem { user_id, item_id, price, quantity, timestamp } = event;
    if quantity < 1 {
        reject!("`quantity` is {quantity}: nothing was added");
    }
    if price.is_nan() || price < 0.0 {
        reject!("`price` is {price}");
    }
    Ok(AddedItem { user_id, item_id, quantity, value: price * quantity as f64, timestamp })
}
