#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "repo/ini_text.h"

namespace chronos::repo {

inline const std::string kStanza = "main";

/// `body` and the section with its checksum. A key ends before "={", or else before "=": one sample
/// has a database a=b.
inline std::string sealed(const std::string& body) {
    IniChecksum checksum;
    std::string_view section;
    std::string_view rest = body;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.starts_with('['))
            section = line.substr(1, line.size() - 2);
        else if (line.find('=') != std::string_view::npos) {
            const std::size_t object = line.find("={");
            const std::size_t at = object == std::string_view::npos ? line.find('=') : object;
            checksum.add(section, line.substr(0, at), line.substr(at + 1));
        }
    }
    return body + "\n[backrest]\nbackrest-checksum=\"" + checksum.hex() + "\"\n";
}

/// `text` with the first `from` replaced by `to`; the checksum is made anew.
inline std::string changed(std::string text, std::string_view from, std::string_view to) {
    text.resize(text.rfind("\n[backrest]"));
    const std::size_t at = text.find(from);
    return sealed(at == std::string::npos ? "" : text.replace(at, from.size(), to));
}

// The examples of docs/format/info-files.md and docs/format/manifest.md.
inline constexpr std::string_view kArchiveInfo = R"([backrest]
backrest-format=5
backrest-version="2.59.1"

[db]
db-id=2
db-system-id=7710165747029732600
db-version="15"

[db:history]
1={"db-id":7710159678555610611,"db-version":"15"}
2={"db-id":7710165747029732600,"db-version":"15"}

[backrest]
backrest-checksum="8fbbfc67cbd0818bb277f26220de29bd55300ba6"
)";

inline constexpr std::string_view kBackupInfo = R"INI([backrest]
backrest-format=5
backrest-version="2.59.1"

[backup:current]
20261120-075745F={"backrest-format":5,"backrest-version":"2.59.1","backup-annotation":{"k1":"v1","key two":"a \"b\""},"backup-archive-start":"000000010000000000000003","backup-archive-stop":"000000010000000000000003","backup-error":false,"backup-info-repo-size":6236335,"backup-info-repo-size-delta":6236335,"backup-info-size":47652227,"backup-info-size-delta":47652227,"backup-lsn-start":"0/3000028","backup-lsn-stop":"0/3000530","backup-timestamp-start":1795161465,"backup-timestamp-stop":1795161470,"backup-type":"full","db-id":1,"option-archive-check":true,"option-archive-copy":false,"option-backup-standby":false,"option-checksum-page":true,"option-compress":true,"option-hardlink":false,"option-online":true}
20261120-075745F_20261120-075816D={"backrest-format":5,"backrest-version":"2.59.1","backup-archive-start":"000000010000000000000007","backup-archive-stop":"000000010000000000000007","backup-error":false,"backup-info-repo-size":6258992,"backup-info-repo-size-delta":136903,"backup-info-size":47971715,"backup-info-size-delta":2195740,"backup-lsn-start":"0/7000028","backup-lsn-stop":"0/7000100","backup-prior":"20261120-075745F","backup-reference":["20261120-075745F"],"backup-timestamp-start":1795161496,"backup-timestamp-stop":1795161498,"backup-type":"diff","db-id":1,"option-archive-check":true,"option-archive-copy":false,"option-backup-standby":false,"option-checksum-page":true,"option-compress":true,"option-hardlink":false,"option-online":true}

[db]
db-catalog-version=202209061
db-control-version=1300
db-id=1
db-system-id=7710159678555610611
db-version="15"

[db:history]
1={"db-catalog-version":202209061,"db-control-version":1300,"db-system-id":7710159678555610611,"db-version":"15"}

[backrest]
backrest-checksum="ba0664487c4612fb14472de376407968434542ae"
)INI";

inline constexpr std::string_view kManifest = R"INI([backrest]
backrest-format=5
backrest-version="2.59.1"

[backup]
backup-archive-start="000000010000000000000009"
backup-archive-stop="000000010000000000000009"
backup-label="20261120-075745F_20261120-075819I"
backup-lsn-start="0/9000028"
backup-lsn-stop="0/9000100"
backup-prior="20261120-075745F_20261120-075816D"
backup-reference="20261120-075745F,20261120-075745F_20261120-075816D,20261120-075745F_20261120-075819I"
backup-timestamp-copy-start=1795161500
backup-timestamp-start=1795161499
backup-timestamp-stop=1795161500
backup-type="incr"

[backup:db]
db-catalog-version=202209061
db-control-version=1300
db-id=1
db-system-id=7710159678555610611
db-version="15"

[backup:option]
option-archive-check=true
option-archive-copy=false
option-backup-standby=false
option-buffer-size=1048576
option-checksum-page=true
option-compress=true
option-compress-level=6
option-compress-level-network=1
option-compress-type="gz"
option-delta=false
option-hardlink=false
option-online=true
option-process-max=2

[backup:target]
pg_data={"path":"/var/lib/postgresql/15/main","type":"path"}
pg_data/pg_hba.conf={"file":"pg_hba.conf","path":"/etc/postgresql/conf","type":"link"}
pg_data/pg_stat={"path":"../ext/pg_stat","type":"link"}
pg_tblspc/16387={"path":"/srv/ts1","tablespace-id":"16387","tablespace-name":"ts1","type":"link"}

[db]
a=b={"db-id":16384,"db-last-system-id":4}
postgres={"db-id":5,"db-last-system-id":4}
q"uote={"db-id":16385,"db-last-system-id":4}
template0={"db-id":4,"db-last-system-id":4}
template1={"db-id":1,"db-last-system-id":4}

[metadata]
annotation={"k1":"v1","key two":"a \"b\""}

[target:file]
pg_data/PG_VERSION={"checksum":"587b596f04f7db9c2cad3d6b87dd2b3a05de4f35","rck":"b8b3ecfaf3ed3d6865df5807d66c5fd8cde3289e","reference":"20261120-075745F","repo-size":23,"size":3,"timestamp":1795161440}
pg_data/backup_label={"checksum":"7c6f095da70ca2fc121547a981488829e9e7ab92","rck":"f7d747d99cc3257768430e0054fc3ed91392e756","repo-size":195,"size":258,"timestamp":1795161500}
pg_data/base/5/16388={"checksum":"7e3e24e68e26c7d1980fac761116498687ea9e92","checksum-page":true,"rck":"5240d56c7251479c9fb1fa5b9eb55895cc445738","repo-size":109244,"size":1949696,"timestamp":1795161499}
pg_data/base/5/16412={"checksum":"d3ee3fd64fc0a965c184a087818b59d8a7329354","checksum-page":false,"checksum-page-error":[3,[5,7],10],"rck":"e1ffc2b7ec1495a045ba9ea4abb423637af0276c","repo-size":25262,"size":712704,"timestamp":1795161499}
pg_data/empty={"mode":"0644","rck":"46c6643f07aa7f6bfe7118de926b86defc5087c4","reference":"20261120-075745F","repo-size":20,"size":0,"timestamp":1795161465}
pg_data/global/pg_control={"checksum":"458500bdd0b11eba7ee732ea79905ef78e41791d","rck":"12dc3e4d5173ce9ed8a9da12aebb8a571ddf1797","repo-size":208,"size":8192,"timestamp":1795161499}
pg_data/odd/exec={"checksum":"55ca6286e3e4f4fba5d0448333fa99fc5a404a73","group":false,"mode":"0755","rck":"0102b4bd917934d66f4dc4ea0b49b5d71ad364a2","reference":"20261120-075745F","repo-size":23,"size":3,"timestamp":1795161465,"user":false}
pg_tblspc/16387/PG_15_202209061/5/16396={"checksum":"9cb8738e0467a04929b39135b2f99976f4904e9e","checksum-page":true,"rck":"cc232233d301c2fbf21c5d10d9087eccb38a5f44","repo-size":4833,"size":40960,"timestamp":1795161499}

[target:file:default]
group="postgres"
mode="0600"
user="postgres"

[target:link]
pg_data/pg_hba.conf={"destination":"/etc/postgresql/conf/pg_hba.conf"}
pg_data/pg_stat={"destination":"../ext/pg_stat"}
pg_data/pg_tblspc/16387={"destination":"/srv/ts1"}

[target:link:default]
group="postgres"
user="postgres"

[target:path]
pg_data={}
pg_data/base={}
pg_data/base/5={}
pg_data/global={}
pg_data/odd={"mode":"0755"}
pg_data/pg_stat={}
pg_data/pg_tblspc={}
pg_tblspc={}
pg_tblspc/16387={}
pg_tblspc/16387/PG_15_202209061={}
pg_tblspc/16387/PG_15_202209061/5={}

[target:path:default]
group="postgres"
mode="0700"
user="postgres"

[backrest]
backrest-checksum="694303f75619d6bff78f73a9b376f9d47db7d3b3"
)INI";

}  // namespace chronos::repo
