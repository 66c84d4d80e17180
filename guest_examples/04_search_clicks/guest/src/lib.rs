//! One search becomes a row for each item that was clicked: none, one or many. Shows parameters, rejections, nulls,
//! texts, lists, and an embedding that is read where it lies.

use millrace::prelude::*;

#[derive(Input)]
struct Search<'a> {
    user_id: Option<&'a str>,
    query: &'a str,
    clicked: Vec<&'a str>,
    prices: Vec<Option<f64>>,
    embedding: &'a [f32],
    timestamp: Timestamp,
}

#[derive(Params)]
struct Settings {
    /// Numbers in an embedding.
    dimensions: usize,
    /// Words that say nothing.
    #[millrace(default)]
    stop_words: Vec<String>,
}

#[derive(Output)]
struct Click<'a> {
    item_id: &'a str,
    user_id: Option<&'a str>,
    position: i32,
    price: Option<f64>,
    terms: Vec<String>,
    embedding: Vec<f32>,
    timestamp: Timestamp,
}

#[transform]
fn search_clicks<'a>(event: Search<'a>, settings: &Settings) -> Result<Vec<Click<'a>>, Reject> {
    if event.prices.len() != event.clicked.len() {
        reject!("{} items were clicked, but there are {} prices", event.clicked.len(), event.prices.len());
    }
    if event.clicked.is_empty() {
        debug!("nobody clicked on anything for `{}`", event.query);
        return Ok(Vec::new());
    }
    let embedding = unit(event.embedding, settings.dimensions)?;
    let terms = terms(event.query, &settings.stop_words);
    let clicks = (1..).zip(event.clicked).zip(event.prices);
    let row = |((position, item_id), price)| Click {
        item_id,
        user_id: event.user_id,
        position,
        price,
        terms: terms.clone(),
        embedding: embedding.clone(),
        timestamp: event.timestamp,
    };
    Ok(clicks.map(row).collect())
}

/// The vector of length one in the same direction.
fn unit(embedding: &[f32], dimensions: usize) -> Result<Vec<f32>, Reject> {
    if embedding.len() != dimensions {
        reject!("the embedding has {} dimensions, not {dimensions}", embedding.len());
    }
    let square: f64 = embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    if !square.is_finite() || square == 0.0 {
        reject!("the embedding has no direction");
    }
    Ok(embedding.iter().map(|x| (f64::from(*x) / square.sqrt()) as f32).collect())
}

/// The words of a query in lower case, without those that say nothing.
fn terms(query: &str, stop_words: &[String]) -> Vec<String> {
    let words = query.split_whitespace().map(str::to_ascii_lowercase);
    words.filter(|word| !stop_words.contains(word)).collect()
}
