#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chronos/present/health_view.h"

/// Numbers for Prometheus. The names and labels of pgbackrest_* are those of the exporter that
/// existing dashboards and alert rules know (woblerr/pgbackrest_exporter 0.19), so that either can
/// be scraped; chronos_* are ours.
namespace chronos::present {

struct Sample {
    std::vector<std::pair<std::string, std::string>> labels;  ///< ascending by name
    double value = 0;
};

struct MetricFamily {
    std::string name;
    std::string help;
    std::string type = "gauge";  ///< or "counter", whose name then ends in "_total"
    std::vector<Sample> samples;
};

/// In a fixed order; families without samples are left out.
std::vector<MetricFamily> metrics_of(const HealthView& view);

enum class MetricFormat {
    prometheus,   ///< text/plain; version=0.0.4
    openmetrics,  ///< application/openmetrics-text; version=1.0.0
};
std::string format_metrics(const std::vector<MetricFamily>& families, MetricFormat format);
/// Its labels as one line of a JSON object, printable.
std::string labels_json(const Sample& sample);
/// As a format has it: "17", "0.5", "1.7e+09" is never used for whole numbers.
std::string format_metric_value(double value);

}  // namespace chronos::present
