#include "parameters.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>

#include "chronos/base/text.h"
#include "chronos/compress/compress.h"
#include "chronos/crypto/cipher.h"
#include "chronos/io/worker_pool.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/forwarding.h"

namespace chronos::ops {
namespace {

/// Longer than this nobody waits for a plan that finds a target, which would else be missed after
/// everything was restored.
constexpr std::chrono::seconds kTimeMax{30};
/// Raised settings alone are worth less: a restore with much WAL shall not wait for what is seldom
/// there.
constexpr std::chrono::seconds kTimeMaxWithoutTarget{5};
/// No segment is larger.
constexpr std::size_t kSegmentSizeMax = std::size_t{1} << 30;

/// No segment is behind it.
constexpr const char* kNoEnd = "G";

struct Segment {
    const ArchiveLocation* archive = nullptr;
    std::string object;
    std::string compressed_as;  ///< the name, which ends in how it is compressed
};

/// Whether the WAL is asked for more than settings.
bool seeks_target(const RestorePlan& plan) {
    return plan.type == RecoveryType::time || plan.type == RecoveryType::xid ||
           plan.type == RecoveryType::name;
}

/// The last segment that recovery may read, as it ends on every timeline: that behind the one with
/// the target, should the record at the target begin there.
std::string last_wanted(const RestoreRequest& request, const RestorePlan& plan,
                        std::uint32_t segment_size) {
    if (plan.type != RecoveryType::lsn) return kNoEnd;
    const auto target = Lsn::parse(request.target);
    if (!target) return kNoEnd;
    return pgdata::wal_segment_name_before(1, Lsn{target->value + segment_size}, segment_size)
        .substr(8);
}

/// What the archives hold of the way, from the segment on that the backup ended in (its pg_control
/// knows what was before) up to `last`; each once.
std::vector<Segment> segments_on(const std::vector<ArchiveLocation>& archives,
                                 const TimelinePath& path, std::uint32_t segment_size,
                                 const std::string& last, const RestorePlan& plan) {
    // By timeline: the last segment of it that is on the way.
    std::map<Timeline, std::string> timelines{{path.backup, kNoEnd}, {path.target, kNoEnd}};
    for (const pgdata::TimelineSwitch& fork : path.switches)
        timelines[fork.parent] =
            pgdata::wal_segment_name_before(fork.parent, fork.switch_lsn, segment_size).substr(8);
    const std::string& from = plan.manifest.archive_stop.empty() ? plan.manifest.archive_start
                                                                 : plan.manifest.archive_stop;
    const std::string first = from.substr(8);
    std::map<std::string, Segment> segments;
    for (const ArchiveLocation& archive : archives) {
        const auto directories = archive.repository->storage->list(archive.directory);
        if (!directories) continue;
        for (const storage::Entry& directory : *directories) {
            if (directory.name.size() != 16 || directory.name.substr(8) < first.substr(0, 8) ||
                !is_hex_upper(directory.name) ||
                !timelines.contains(pgdata::timeline_of_segment(directory.name + "00000000")))
                continue;
            const std::string parent = archive.directory + "/" + directory.name;
            const auto entries = archive.repository->storage->list(parent);
            if (!entries) continue;
            for (const storage::Entry& entry : *entries)
                if (entry.name.size() >= 65 && entry.name[24] == '-' &&
                    entry.name.substr(8, 16) >= first && entry.name.substr(8, 16) <= last &&
                    entry.name.substr(8, 16) <=
                        timelines[pgdata::timeline_of_segment(entry.name.substr(0, 24))])
                    segments.try_emplace(entry.name.substr(0, 24),
                                         Segment{&archive, parent + "/" + entry.name, entry.name});
        }
    }
    std::vector<Segment> list;
    for (auto& [name, segment] : segments) list.push_back(std::move(segment));
    return list;
}

Result<std::string> read_segment(const Segment& segment) {
    io::MemorySink content(kSegmentSizeMax);
    const auto source = CHRONOS_TRY(segment.archive->repository->storage->open(segment.object));
    const auto decompressor = compress::make_decompressor(
        compress::compress_type_of_name(segment.compressed_as), compress::Form::normal, content);
    if (segment.archive->cipher_pass.empty()) {
        CHRONOS_TRY(io::copy(*source, *decompressor));
    } else {
        const auto decryptor = crypto::make_decryptor(segment.archive->cipher_pass,
                                                      crypto::CipherForm::normal, *decompressor);
        CHRONOS_TRY(io::copy(*source, *decryptor));
    }
    return std::move(content.content);
}

pgdata::WalTarget target_of(const RestorePlan& plan) {
    pgdata::WalTarget target;
    target.from = plan.manifest.lsn_stop.value_or(Lsn{});
    if (plan.type == RecoveryType::name) target.name = plan.target_setting;
    // The WAL knows the lower half of a transaction id, without the epoch.
    if (plan.type == RecoveryType::xid)
        target.xid = static_cast<std::uint32_t>(parse_uint(plan.target_setting).value_or(0));
    return target;
}

/// As the backup has it.
void add_control_file(const RestoreRequest& request, RestorePlan& plan) {
    const repo::ManifestFile* file = plan.manifest.find_file("pg_data/global/pg_control");
    if (file == nullptr) return;
    const auto content = repo::read_small_file(request.repositories[plan.repository_index],
                                               request.stanza, plan.manifest, *file, 1u << 16);
    if (!content) return;
    if (const auto found = pgdata::parameters_in_control_file(io::bytes(*content)))
        plan.required_parameters.raise(*found);
}

bool is_given(const RestoreRequest& request, std::string name) {
    if (request.recovery_options.contains(name)) return true;
    std::replace(name.begin(), name.end(), '_', '-');
    return request.recovery_options.contains(name);
}

}  // namespace

WalKnowledge look_into_wal(const RestoreRequest& request,
                           const std::vector<ArchiveLocation>& archives, const TimelinePath& path,
                           std::uint32_t segment_size, RestorePlan& plan) {
    WalKnowledge known;
    if (major_of(plan.manifest.pg_version) < 12 || plan.type == RecoveryType::none) return known;
    add_control_file(request, plan);
    if (plan.type == RecoveryType::immediate || archives.empty()) return known;
    const std::vector<Segment> segments =
        segments_on(archives, path, segment_size, last_wanted(request, plan, segment_size), plan);
    if (segments.empty()) return known;
    const pgdata::WalTarget target = target_of(plan);
    const auto end =
        std::chrono::steady_clock::now() + (seeks_target(plan) ? kTimeMax : kTimeMaxWithoutTarget);
    std::atomic<std::size_t> unread{0};
    std::mutex mutex;
    const Cancellation never;
    const storage::Storage& storage = *archives.front().repository->storage;
    io::ByteBudget budget(storage::kBytesInFlightMax);
    const auto look_at = [&](std::size_t index) -> Result<> {
        if (std::chrono::steady_clock::now() > end) {
            ++unread;
            return {};
        }
        const io::ByteBudget::Share share(budget, segment_size);
        const auto content = read_segment(segments[index]);
        if (!content) {
            ++unread;  // recovery will say what is wrong with it
            return {};
        }
        const auto parameters = pgdata::parameters_in_wal(io::bytes(*content));
        const auto found = pgdata::find_target_in_wal(io::bytes(*content), target);
        const std::lock_guard lock(mutex);
        if (parameters) plan.required_parameters.raise(*parameters);
        known.target.add(found);
        return {};
    };
    static_cast<void>(io::parallel_for(storage::workers_for(storage, request.process_max),
                                       segments.size(), never, look_at));
    known.complete = unread == 0;
    if (known.complete) return known;
    plan.warnings.push_back(
        std::to_string(unread) + " of " + std::to_string(segments.size()) +
        " WAL segments were not looked at for raised settings: should recovery stand still with "
        "'insufficient parameter settings', give the values that the server log names with "
        "--recovery-option=max_connections=... and the like, or in postgresql.auto.conf");
    return known;
}

void raise_parameters(const RestoreRequest& request, const pgdata::ServerConfig& config,
                      RestorePlan& plan) {
    const auto settings = pgdata::ServerParameters::settings(major_of(plan.manifest.pg_version));
    for (std::size_t i = 0; i < settings.size(); ++i) {
        const auto& [view, standard] = settings[i];
        const std::string name(view);
        const std::uint32_t required = plan.required_parameters.values[i];
        const auto configured = parse_uint(config.value_of(name, std::to_string(standard)));
        if (!configured || *configured >= required || is_given(request, name)) continue;
        if (plan.type == RecoveryType::preserve) {
            plan.warnings.push_back("recovery needs " + name + " = " + std::to_string(required) +
                                    ", the configuration has " + std::to_string(*configured));
            continue;
        }
        plan.other_settings[name] = std::to_string(required);
    }
}

}  // namespace chronos::ops
