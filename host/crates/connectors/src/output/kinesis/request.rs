//! One PutRecords request: our own bytes in the SDK's envelope, which finds the endpoint, signs and sends.
//!
//! The SDK would copy each record into a blob and a text of its own first.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::body::SdkBody;

use super::pace::named_shard;
use super::queue::NotTaken;
use crate::kinesis::{Class, Stream, Trouble};
use crate::output::record::append_escaped;

/// What the service said to a request.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Records that it did not take, in order.
    pub(super) not_taken: Vec<NotTaken>,
    /// How many of them were too much for their shard.
    pub(super) throttled: usize,
    /// What it said to the first of them.
    pub(super) reason: Option<Trouble>,
}

/// What a request begins with, before its first entry.
pub(super) fn prefix(stream: &Stream) -> Vec<u8> {
    let (field, value) = match stream {
        Stream::Name(name) => ("StreamName", name),
        Stream::Arn(arn) => ("StreamARN", arn),
    };
    let mut prefix = format!("{{\"{field}\":\"").into_bytes();
    append_escaped(&mut prefix, value.as_bytes());
    prefix.extend_from_slice(b"\",\"Records\":[");
    prefix
}

/// Sends a request, begun with [`prefix`], with this many entries. One attempt.
pub(super) async fn put(
    client: &Client,
    stream: &Stream,
    mut body: Vec<u8>,
    entries: usize,
) -> Result<Said, Trouble> {
    body.extend_from_slice(b"]}");
    let put = client.put_records().set_records(Some(Vec::new()));
    let put = put.set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let body = Body(Arc::new(Mutex::new(Some(body))));
    match put.customize().interceptor(body).send().await {
        Ok(output) => read(&output, entries),
        Err(error) => Err(Trouble::of(&error)),
    }
}

fn read(output: &PutRecordsOutput, entries: usize) -> Result<Said, Trouble> {
    let results = output.records();
    if results.len() != entries {
        let message = format!("{} results for {entries} records", results.len());
        return Err(Trouble::coded("BadAnswer", &message, 500));
    }
    let mut said = Said::default();
    if output.failed_record_count() == Some(0) {
        return Ok(said);
    }
    for (index, result) in results.iter().enumerate() {
        let Some(code) = result.error_code() else { continue };
        let trouble = Trouble::coded(code, result.error_message().unwrap_or_default(), 500);
        said.throttled += usize::from(trouble.class == Class::Throttled);
        let shard = result.error_message().and_then(named_shard).map(Arc::from);
        said.not_taken.push(NotTaken { index, shard });
        said.reason.get_or_insert(trouble);
    }
    Ok(said)
}

/// Puts our bytes in the place of the SDK's, before they are signed.
#[derive(Debug)]
struct Body(Arc<Mutex<Option<Vec<u8>>>>);

#[dyn_dispatch_hint]
impl Intercept for Body {
    fn name(&self) -> &'static str {
        "Body"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One attempt is made, see `crate::kinesis::Shared::client`.
        let body = body.ok_or("the records were sent already")?;
        let request = context.request_mut();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        Ok(())
    }
}
