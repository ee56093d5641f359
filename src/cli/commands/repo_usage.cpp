#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/ops/usage/usage.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::usage::UsageRow;

nlohmann::json row_object(const UsageRow& row) {
    return {{"repo-key", row.repo_key}, {"stanza", row.stanza},       {"area", row.area},
            {"item", row.item},         {"class", row.storage_class}, {"objects", row.objects},
            {"bytes", row.bytes}};
}

std::string line(const std::string& what, std::uint64_t objects, std::uint64_t bytes) {
    constexpr std::size_t kWhatWidth = 58;
    std::string text = what;
    text.resize(std::max(text.size() + 1, kWhatWidth), ' ');
    const std::string count = std::to_string(objects);
    const std::string size = format_size(bytes);
    const auto padded = [](const std::string& cell, std::size_t width) {
        return std::string(width - std::min(width, cell.size()), ' ') + cell;
    };
    return text + padded(count, 10) + padded(size, 12) + "\n";
}

std::string as_text(const std::vector<UsageRow>& rows) {
    std::string text;
    std::map<unsigned, UsageRow> sums;
    for (const UsageRow& row : rows) {
        const std::string of = "repo" + std::to_string(row.repo_key) + " " + row.area + "/" +
                               row.stanza + (row.item.empty() ? "" : "/" + row.item) +
                               (row.storage_class.empty() ? "" : " " + row.storage_class);
        text += line(of, row.objects, row.bytes);
        UsageRow& sum = sums[row.repo_key];
        sum.objects += row.objects;
        sum.bytes += row.bytes;
    }
    for (const auto& [key, sum] : sums)
        text += line("repo" + std::to_string(key) + " in all", sum.objects, sum.bytes);
    return text.empty() ? "the repositories are empty\n" : text;
}

}  // namespace

Result<int> run_repo_usage(requests::Context& context) {
    const config::Config& config = context.config;
    ops::usage::UsageRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    const std::vector<UsageRow> rows =
        CHRONOS_TRY(ops::usage::measure_usage(request, context.cancel));
    if (config.get_string("output") == "json") {
        nlohmann::json array = nlohmann::json::array();
        for (const UsageRow& row : rows) array.push_back(row_object(row));
        CHRONOS_TRY(present::print_json(array));
    } else {
        CHRONOS_TRY(present::print_text(as_text(rows)));
    }
    return 0;
}

}  // namespace chronos::cli
