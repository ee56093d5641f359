#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::annotate {

struct AnnotateRequest {
    std::string stanza;
    std::vector<repo::Repository> repositories;
    std::vector<unsigned> lock_keys = {1};
    std::string lock_path;
    std::string exec_id;
    std::string set;                                 ///< a label, or "latest"
    std::map<std::string, std::string> annotations;  ///< an empty value removes the key
};

struct Annotated {
    unsigned repo_key = 1;
    std::string label;
    std::map<std::string, std::string> annotations;  ///< all that the backup has now
};

struct AnnotateOutcome {
    std::vector<Annotated> annotated;
    std::vector<std::pair<unsigned, Error>> failures;  ///< by repository; the others are done
};

/// Merges annotations into those of a backup, in every repository that lists it; manifests do not
/// change. Takes the backup lock. Kind backup_set_invalid if no repository lists the backup.
/// Source: docs/format/commands.md, annotate.
Result<AnnotateOutcome> annotate(const AnnotateRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::annotate
