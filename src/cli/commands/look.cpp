#include "chronos/flows/look.h"

#include <cstdio>

#include "chronos/base/quote.h"
#include "chronos/present/print.h"
#include "cli/commands/commands.h"
#include "cli/commands/scratch_server.h"

namespace chronos::cli {
namespace {

std::string lines_of(const ops::drill::Look& look) {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.1f", look.seconds);
    std::string text =
        "backup " + look.backup.label + " of repo" + std::to_string(look.backup.repo_key) + ", ";
    if (look.backup.type == "default")
        text += "recovered to the end of the WAL";
    else if (look.backup.target.empty())
        text += "as soon as it was consistent";
    else
        text += "recovered to " + look.backup.type + " '" + look.backup.target + "'";
    return text + ", read-only, after " + seconds + " s\npsql -h " + shell_word(look.socket) +
           " -p " + std::to_string(look.port) + " -U " + shell_word(look.user) + " " +
           shell_word(look.database) + "\nEnd it with Ctrl-C, or SIGTERM to this process.\n";
}

}  // namespace

Result<int> run_look(requests::Context& context) {
    // Before there is a second thread.
    CHRONOS_TRY(check_scratch_type(context, "a look"));
    CHRONOS_TRY(keep_mounts_to_myself());
    CHRONOS_TRY(flows::run_look(
        scratch_look(context),
        [](const ops::drill::Look& look) { return present::print_text(lines_of(look)); },
        context.progress, context.cancel));
    return 0;
}

}  // namespace chronos::cli
