#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/ops/browse/browse.h"
#include "chronos/present/json_text.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using storage::Entry;
using storage::EntryType;

Result<ops::browse::Place> browsed_place(const config::Config& config, const std::string& path) {
    ops::browse::Place place;
    place.repository = CHRONOS_TRY(requests::open_repositories(config)).front();
    place.root = config.get_string({"repo-path", place.repository.key});
    place.path = path;
    return place;
}

std::string quoted_json(const std::string& text) {
    return present::text_of(nlohmann::json(text));
}

std::string attributes_of(const Entry& entry) {
    switch (entry.type) {
        case EntryType::file:
            return R"("type":"file","size":)" + std::to_string(entry.size) + R"(,"time":)" +
                   std::to_string(entry.modified);
        case EntryType::path: return R"("type":"path")";
        case EntryType::link:
            return R"("type":"link","destination":)" + quoted_json(entry.link_destination);
        case EntryType::special: break;
    }
    return R"("type":"special")";
}

/// In the order of the listing, which an object of the library would not keep.
std::string as_json(const std::vector<Entry>& entries) {
    std::string text = "{";
    for (const Entry& entry : entries)
        text += (text.size() > 1 ? "," : "") + quoted_json(entry.name) + ":{" +
                attributes_of(entry) + "}";
    return text + "}\n";
}

std::string as_text(const std::vector<Entry>& entries) {
    std::string text;
    for (const Entry& entry : entries)
        if (entry.name != "." || entry.type != EntryType::path)
            text += printable(entry.name, SIZE_MAX) + "\n";
    return text;
}

class StandardOutput final : public io::Sink {
public:
    Result<> write(io::Bytes in) override { return present::print(io::text(in)); }
    Result<> finish() override { return {}; }
};

}  // namespace

Result<int> run_repo_ls(requests::Context& context) {
    const config::Config& config = context.config;
    const std::vector<std::string>& parameters = config.parameters();
    if (parameters.size() > 1)
        return Error(ErrorKind::param_invalid, "only one path may be specified");
    ops::browse::ListRequest request;
    request.place = CHRONOS_TRY(browsed_place(config, parameters.empty() ? "" : parameters[0]));
    request.recurse = config.get_bool("recurse");
    if (config.has("filter")) request.filter = config.get_string("filter");
    const std::string sort = config.get_string("sort");
    request.order = sort == "none"   ? ops::browse::Order::none
                    : sort == "desc" ? ops::browse::Order::descending
                                     : ops::browse::Order::ascending;
    const std::vector<Entry> entries = CHRONOS_TRY(ops::browse::list(request));
    const bool json = config.get_string("output") == "json";
    CHRONOS_TRY(json ? present::print(as_json(entries)) : present::print_text(as_text(entries)));
    return 0;
}

Result<int> run_repo_get(requests::Context& context) {
    const config::Config& config = context.config;
    const std::vector<std::string>& parameters = config.parameters();
    if (parameters.size() != 1) return Error(ErrorKind::param_required, "source file required");
    StandardOutput output;
    const ops::browse::Place place = CHRONOS_TRY(browsed_place(config, parameters[0]));
    const Result<> done = ops::browse::get(place, config.get_bool("raw"), output);
    if (!done && done.error().kind() == ErrorKind::not_found && config.get_bool("ignore-missing"))
        return 1;
    CHRONOS_TRY(done);
    return 0;
}

}  // namespace chronos::cli
