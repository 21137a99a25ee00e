/* cpu.c - detection and choice of the instruction set. */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const char *const names[TX_ISA_COUNT] = {"ref", "avx2", "avx512", "neon"};

const char *tx_isa_name(tx_isa isa) { return names[isa]; }

bool tx_isa_supported(tx_isa isa) {
  switch (isa) {
    case TX_ISA_REF:
      return true;
#if defined(__x86_64__)
    case TX_ISA_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case TX_ISA_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && tx_isa_supported(TX_ISA_AVX2);
#elif defined(__aarch64__)
    case TX_ISA_NEON:
      return true;
#endif
    default:
      return false;
  }
}

#if defined(__x86_64__)
/* By the manual's bit: not every compiler has a name for it. */
static bool has_avx_vnni(void) {
  unsigned a, b, c, d;
  return tx_isa_supported(TX_ISA_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
}
#endif

bool tx_isa_has_dot(tx_isa isa) {
  const char *wanted = getenv("TEXRES_DOT");
  if (wanted != NULL && strcmp(wanted, "0") == 0) return false;
  switch (isa) {
#if defined(__x86_64__)
    case TX_ISA_AVX2:
      return has_avx_vnni();
    case TX_ISA_AVX512:
      return __builtin_cpu_supports("avx512vnni");
#elif defined(__aarch64__) && defined(HWCAP_ASIMDDP)
    case TX_ISA_NEON:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    default:
      return false;
  }
}

tx_status tx_isa_choose(tx_isa *isa) {
  const char *wanted = getenv("TEXRES_ISA");
  char choices[64] = "";
  for (int i = 0; i < TX_ISA_COUNT; i++) {
    if (!tx_isa_supported((tx_isa)i)) continue;
    *isa = (tx_isa)i; /* the list is in ascending order of speed */
    if (wanted != NULL && strcmp(wanted, names[i]) == 0) return TX_OK;
    if (choices[0] != '\0') strcat(choices, ", ");
    strcat(choices, names[i]);
  }
  if (wanted == NULL || wanted[0] == '\0') return TX_OK;
  return tx_fail(TX_EINVAL, "TEXRES_ISA is '%s': this machine can run %s", wanted, choices);
}
