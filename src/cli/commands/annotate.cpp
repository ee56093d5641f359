#include <nlohmann/json.hpp>

#include "chronos/ops/annotate/annotate.h"
#include "chronos/present/failures.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_annotate(requests::Context& context) {
    const config::Config& config = context.config;
    ops::annotate::AnnotateRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    request.lock_keys = requests::lock_keys(config);
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    request.set = config.get_string("set");
    request.annotations = config.get_hash("annotation");
    const auto outcome = CHRONOS_TRY(ops::annotate::annotate(request, context.cancel));
    nlohmann::json rows = nlohmann::json::array();
    for (const ops::annotate::Annotated& one : outcome.annotated)
        rows.push_back({{"repo", one.repo_key},
                        {"label", one.label},
                        {"annotation", nlohmann::json(one.annotations)}});
    if (config.get_string("output") == "json") CHRONOS_TRY(present::print_json(rows));
    CHRONOS_TRY(present::report_failures("annotate", outcome.failures));
    return 0;
}

}  // namespace chronos::cli
