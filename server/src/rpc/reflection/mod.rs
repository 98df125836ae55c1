//! Server reflection (gRPC Server Reflection Protocol, versions v1 and v1alpha). Its streams end with
//! the service's stop and with their connection's age, and a question that has no answer is answered
//! with an error, not with the stream's end.

mod files;

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming, async_trait, service::RoutesBuilder};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
        server_reflection_server::{ServerReflection, ServerReflectionServer},
    },
    v1alpha::{
        self,
        server_reflection_server::{
            ServerReflection as ServerReflectionAlpha,
            ServerReflectionServer as ServerReflectionAlphaServer,
        },
    },
};

use self::files::ServedFiles;
use super::{health::Readiness, status};

/// The service of both versions.
#[derive(Clone)]
struct Reflection {
    files: Arc<ServedFiles>,
    readiness: Readiness,
}

/// Adds reflection to the server. It ends its streams when `readiness` ends its Watches.
///
/// # Errors
/// If the descriptors don't fit together, which is an error of the build.
pub fn serve(routes: &mut RoutesBuilder, readiness: &Readiness) -> Result<(), String> {
    let files = ServedFiles::new([
        bookstore_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        v1::FILE_DESCRIPTOR_SET,
        v1alpha::FILE_DESCRIPTOR_SET,
    ])?;
    let service = Reflection { files: Arc::new(files), readiness: readiness.clone() };
    routes.add_service(ServerReflectionServer::new(service.clone()));
    routes.add_service(ServerReflectionAlphaServer::new(service));
    Ok(())
}

impl Reflection {
    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answered = match &request.message_request {
            None => Err((tonic::Code::InvalidArgument, "the request has no question".to_owned())),
            Some(question) => self.ask(question),
        };
        let answer = answered.unwrap_or_else(|(code, error_message)| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn ask(&self, question: &MessageRequest) -> Result<MessageResponse, (tonic::Code, String)> {
        let none = |what: &str| (tonic::Code::NotFound, format!("there is no {what}"));
        let file = |found: Option<&[u8]>, what: String| match found {
            Some(file) => {
                let file_descriptor_proto = vec![file.to_vec()];
                let file = FileDescriptorResponse { file_descriptor_proto };
                Ok(MessageResponse::FileDescriptorResponse(file))
            }
            None => Err(none(&what)),
        };
        match question {
            MessageRequest::FileByFilename(name) => {
                file(self.files.named(name), format!("file {name:?}"))
            }
            MessageRequest::FileContainingSymbol(name) => {
                file(self.files.of_symbol(name), format!("symbol {name:?}"))
            }
            MessageRequest::FileContainingExtension(extension) => {
                let (of, number) = (&extension.containing_type, extension.extension_number);
                let what = format!("extension {number} of {of:?}");
                file(self.files.of_extension(of, number), what)
            }
            MessageRequest::AllExtensionNumbersOfType(of) => {
                let numbers = self.files.extensions(of);
                let extension_number = numbers.ok_or_else(|| none(&format!("message {of:?}")))?;
                let base_type_name = of.clone();
                let numbers = ExtensionNumberResponse { base_type_name, extension_number };
                Ok(MessageResponse::AllExtensionNumbersResponse(numbers))
            }
            MessageRequest::ListServices(_) => {
                let names = self.files.services().iter();
                let service = names.map(|name| ServiceResponse { name: name.clone() }).collect();
                Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
            }
        }
    }
}

#[async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let end = self.readiness.end_of_stream(&request);
        let service = self.clone();
        let questions = request.into_inner();
        let answers = questions.map(move |question| question.map(|it| service.answer(it)));
        Ok(Response::new(answers.take_until(Box::pin(end)).boxed()))
    }
}

/// The messages of v1alpha are encoded as those of v1.
fn transcoded<A: Message, B: Message + Default>(message: &A) -> Result<B, Status> {
    let decoded = B::decode(message.encode_to_vec().as_slice());
    decoded.map_err(|error| status::internal(&error, ""))
}

#[async_trait]
impl ServerReflectionAlpha for Reflection {
    type ServerReflectionInfoStream =
        BoxStream<'static, Result<v1alpha::ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let end = self.readiness.end_of_stream(&request);
        let service = self.clone();
        let questions = request.into_inner();
        let answers =
            questions.map(move |question| transcoded(&service.answer(transcoded(&question?)?)));
        Ok(Response::new(answers.take_until(Box::pin(end)).boxed()))
    }
}
