#ifndef KNAP_CCRYPTO_H
#define KNAP_CCRYPTO_H

/* The part of OpenSSL's libcrypto that the host uses: message digests. */
#include <openssl/evp.h>

#endif
