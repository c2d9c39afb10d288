"""The derivation of a recurrent network: BPTT, RTRL and their hybrid."""
