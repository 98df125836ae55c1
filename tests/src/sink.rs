//! A collector of the test's own: what a service sends it by OTLP is kept.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    metrics::v1::{Metric, metric::Data},
    trace::v1::Span,
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// A collector at a port of its own, for as long as the test's runtime lives.
#[derive(Debug)]
pub struct Sink {
    endpoint: String,
    kept: Kept,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    spans: Arc<Mutex<Vec<Span>>>,
    /// The metrics as they were told last.
    metrics: Arc<Mutex<Vec<Metric>>>,
}

impl Sink {
    /// Starts to listen.
    ///
    /// # Panics
    /// If there is no port for it.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// Begins to take what comes to a port.
    ///
    /// # Panics
    /// If the port has no address.
    pub fn on(listener: TcpListener) -> Self {
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let kept = Kept::default();
        let collector = Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .add_service(MetricsServiceServer::new(kept.clone()));
        tokio::spawn(collector.serve_with_incoming(TcpIncoming::from(listener)));
        Self { endpoint, kept }
    }

    /// What a service is to be told of it: the value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many spans of a name have come so far.
    pub fn count(&self, name: &str) -> usize {
        let spans = self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.name == name).count()
    }

    /// Takes all spans that have come so far.
    pub fn take_spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many values a histogram has noted, by what was told of it last; none before.
    pub fn noted(&self, histogram: &str) -> u64 {
        let metrics = self.kept.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let data = metrics.iter().find(|it| it.name == histogram).and_then(|it| it.data.as_ref());
        match data {
            Some(Data::Histogram(histogram)) => {
                histogram.data_points.iter().map(|point| point.count).sum()
            }
            _ => 0,
        }
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Kept {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics).collect();
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = metrics;
        Ok(Response::new(Default::default()))
    }
}
