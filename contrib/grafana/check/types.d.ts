// What Grafana's Prometheus data source adds to the types of @grafana/schema.
import type { AnnotationQuery, Dashboard, DataQuery, DataSourceRef } from '@grafana/schema';

export interface PrometheusDataQuery extends Omit<DataQuery, 'datasource'> {
  datasource: DataSourceRef;
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format?: 'table';
  interval?: string;
}

export interface PrometheusAnnotation extends AnnotationQuery<PrometheusDataQuery> {
  useValueForTime?: boolean;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
}

export interface PrometheusDashboard extends Omit<Dashboard, 'annotations'> {
  annotations: { list: PrometheusAnnotation[] };
}
