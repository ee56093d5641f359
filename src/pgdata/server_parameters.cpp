#include "chronos/pgdata/server_parameters.h"

#include <algorithm>

#include "chronos/pgdata/control_file.h"
#include "pgdata/little_endian.h"
#include "pgdata/versions.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

/// XLOG_PARAMETER_CHANGE: a header, the length of the data in two bytes, the data, which begin with
/// the five values.
constexpr std::size_t kDataSize = 28;
constexpr std::size_t kDataAt = wal_record::kHeaderSize + 2;
constexpr std::size_t kRecordSize = kDataAt + kDataSize;
/// wal_level stands behind the five values.
constexpr std::size_t kLevelAt = ServerParameters::kCount * sizeof(std::uint32_t);
constexpr std::uint32_t kMinimal = 0;
using Record = std::array<std::byte, kRecordSize>;
constexpr std::uint16_t kInfoAndManager = 0x0060;  ///< the resource manager behind it is number 0
constexpr std::uint16_t kShortData = 0x1CFF;       ///< 0xFF, then 28
/// No server has more of anything.
constexpr std::uint32_t kValueMax = 1u << 23;

std::optional<ServerParameters> load_values(io::Bytes from) {
    ServerParameters parameters;
    for (std::size_t i = 0; i < ServerParameters::kCount; ++i) {
        parameters.values[i] = load<std::uint32_t>(from, i * sizeof(std::uint32_t));
        if (parameters.values[i] > kValueMax) return std::nullopt;
    }
    return parameters;
}

bool is_parameter_change(const Record& record) {
    const io::Bytes bytes(record);
    if (load<std::uint16_t>(bytes, wal_record::kInfoAt) != kInfoAndManager ||
        load<std::uint16_t>(bytes, wal_record::kInfoAt + 2) != 0 ||
        load<std::uint16_t>(bytes, wal_record::kHeaderSize) != kShortData)
        return false;
    return wal_record::is_intact(bytes);
}

template <class Visit>
void for_each_record(io::Bytes content, const Visit& visit) {
    for (std::size_t page = 0; page + kWalPageSize <= content.size(); page += kWalPageSize) {
        const std::size_t data = page + wal_page::header_size(content, page);
        for (std::size_t at = data; at < page + kWalPageSize; at += 8) {
            // The size of the record, and no transaction.
            if (load<std::uint64_t>(content, at) != kRecordSize) continue;
            Record record{};
            if (wal_record::take(content, at, record) && is_parameter_change(record))
                visit(at, record);
        }
    }
}

}  // namespace

std::array<ServerParameters::Setting, ServerParameters::kCount> ServerParameters::settings(
    unsigned major) {
    const auto version = std::ranges::find(versions(), major, &Version::major);
    return {{{"max_connections", 100},
             {"max_worker_processes", 8},
             {"max_wal_senders", 10},
             {"max_prepared_transactions", 0},
             {"max_locks_per_transaction", version == versions().end()
                                               ? Version{}.max_locks_per_transaction
                                               : version->max_locks_per_transaction}}};
}

void ServerParameters::raise(const ServerParameters& other) {
    for (std::size_t i = 0; i < kCount; ++i) values[i] = std::max(values[i], other.values[i]);
}

std::optional<ServerParameters> parameters_in_control_file(io::Bytes content) {
    const auto control = parse_control_file(content);
    if (!control || control->major() < 12) return std::nullopt;
    const Version* version = find_version(control->control_version, control->catalog_version);
    return load_values(content.subspan(version->control.max_connections));
}

std::uint64_t next_xid_in_control_file(io::Bytes content) {
    const auto control = parse_control_file(content);
    if (!control) return 0;
    const std::size_t at =
        find_version(control->control_version, control->catalog_version)->control.next_xid;
    return at == 0 ? 0 : load<std::uint64_t>(content, at);
}

std::optional<ServerParameters> parameters_in_wal(io::Bytes content) {
    std::optional<ServerParameters> found;
    for_each_record(content, [&](std::size_t, const Record& record) {
        const auto values = load_values(io::Bytes(record).subspan(kDataAt));
        if (!values) return;
        if (found)
            found->raise(*values);
        else
            found = values;
    });
    return found;
}

std::optional<Lsn> minimal_wal_from(io::Bytes content) {
    std::optional<Lsn> found;
    for_each_record(content, [&](std::size_t at, const Record& record) {
        const io::Bytes data = io::Bytes(record).subspan(kDataAt);
        if (load<std::uint32_t>(data, kLevelAt) != kMinimal || !load_values(data)) return;
        const std::size_t page = at / kWalPageSize * kWalPageSize;
        const auto start = load<std::uint64_t>(content, wal_page::kAddressAt);
        // A page that was not written yet still has what the file was used for before.
        if (load<std::uint64_t>(content, page + wal_page::kAddressAt) != start + page) return;
        if (!found) found = Lsn{start + at};
    });
    return found;
}

}  // namespace chronos::pgdata
