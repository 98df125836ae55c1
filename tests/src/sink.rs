//! A collector inside the test: it keeps what a service sends by OTLP.

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

/// A collector on its own port, for the life of the test's runtime.
#[derive(Debug)]
pub struct Sink {
    endpoint: String,
    kept: Kept,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    spans: Arc<Mutex<Vec<Span>>>,
    /// The metrics of the last export.
    metrics: Arc<Mutex<Vec<Metric>>>,
}

impl Sink {
    /// Starts to listen on a free port.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// Starts to accept exports on a port.
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

    /// Its URL: the value of `OTEL_EXPORTER_OTLP_ENDPOINT` for a service.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of spans of a name so far.
    pub fn count(&self, name: &str) -> usize {
        let spans = self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.name == name).count()
    }

    /// Removes and returns all spans so far.
    pub fn take_spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of values in a histogram according to the last export; 0 before it.
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
