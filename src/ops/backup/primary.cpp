#include "ops/backup/primary.h"

#include "chronos/base/text.h"
#include "chronos/db/conninfo.h"
#include "chronos/db/standby.h"

namespace chronos::ops::backup {
namespace {

/// A primary that does not answer holds the backup up no longer.
constexpr const char* kConnectTimeout_s = "5";

Result<std::unique_ptr<db::Connection>> connect_upstream(const BackupRequest& request,
                                                         db::Connection& standby,
                                                         const Cancellation& cancel) {
    const std::string conninfo = CHRONOS_TRY(db::primary_conninfo(standby));
    if (conninfo.empty())
        return Error(ErrorKind::db_connect, "primary_conninfo is not set, or not for us to know");
    db::ConnectOptions options;
    options.database = "postgres";
    options.parameters = db::without_streaming(
        CHRONOS_TRY_DOING(db::parse_conninfo(conninfo), "read primary_conninfo"));
    options.parameters.try_emplace("connect_timeout", kConnectTimeout_s);
    options.query_timeout = *request.db_timeout;
    return db::connect(options, cancel);
}

/// A standby may follow another one, which knows whom it follows. The last one that can be reached.
Result<std::unique_ptr<db::Connection>> connect_to_primary(const BackupRequest& request,
                                                           db::Connection& standby,
                                                           const Cancellation& cancel) {
    constexpr int kCascadeMax = 8;
    auto reached = CHRONOS_TRY(connect_upstream(request, standby, cancel));
    for (int i = 1; i < kCascadeMax && db::check_not_promoted(*reached); ++i) {
        auto next = connect_upstream(request, *reached, cancel);
        if (!next) break;
        reached = *std::move(next);
    }
    return reached;
}

}  // namespace

std::string leave_segment_on_primary(const BackupRequest& request, const Cluster& cluster,
                                     const std::string& segment, db::Connection& standby,
                                     const Cancellation& cancel) {
    const auto primary = connect_to_primary(request, standby, cancel);
    const Result<> asked = primary
                               ? db::leave_segment(**primary, cluster.control.system_id, segment)
                               : Result<>(primary.error());
    return asked ? "" : "the primary cannot be asked: " + one_line(asked.error().message());
}

}  // namespace chronos::ops::backup
