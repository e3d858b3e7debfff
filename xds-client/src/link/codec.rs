//! gRPC's frames to and from the envelopes, for either protocol.

use crate::message::{DeltaDiscoveryResponse, DiscoveryResponse, Request, Response};
use crate::state::Protocol;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

#[derive(Clone, Copy)]
pub(super) struct Envelopes(pub(super) Protocol);

impl Codec for Envelopes {
    type Encode = Request;
    type Decode = Response;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Envelopes {
    type Item = Request;
    type Error = Status;

    fn encode(&mut self, request: Request, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let encoded = match request {
            Request::StateOfTheWorld(request) => request.encode(buffer),
            Request::Delta(request) => request.encode(buffer),
        };
        encoded.map_err(|error| Status::internal(format!("cannot encode a request: {error}")))
    }
}

impl Decoder for Envelopes {
    type Item = Response;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Response>, Status> {
        let decoded = match self.0 {
            Protocol::StateOfTheWorld => DiscoveryResponse::decode(buffer).map(Response::StateOfTheWorld),
            Protocol::Delta => DeltaDiscoveryResponse::decode(buffer).map(Response::Delta),
        };
        let mut response =
            decoded.map_err(|error| Status::internal(format!("the server sent no discovery response: {error}")))?;
        response.compact();
        Ok(Some(response))
    }
}
